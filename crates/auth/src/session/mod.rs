//! Sessions: how they begin, go on and end.

mod list;
mod live;
mod login;
mod logout;
mod refresh;
pub mod view;

pub use list::{SessionInfo, list};
pub use live::Live;
pub use login::{Credentials, LoginError, login};
pub use logout::{LogoutError, logout, logout_all, logout_one, logout_with_refresh_token};
pub(crate) use refresh::reached;
pub use refresh::{RefreshError, refresh};

pub(crate) use live::Opening;
pub(crate) use login::{check_password, revoke_all};
