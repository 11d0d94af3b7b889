//! Nothing is announced that no event can say.

use model::{Intent, EventKind};

const INTENT: Intent = Intent::to(EventKind::PasswordGuessed);

fn main() {}
