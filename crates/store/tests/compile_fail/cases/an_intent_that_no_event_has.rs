//! Nothing is announced that no event can say.

use model::{Intent, Kind};

const INTENT: Intent = Intent::to(Kind::PasswordGuessed);

fn main() {}
