//! Sessions: refresh, list and logout. Login is in `login.rs`.

mod active;
mod client;
pub mod feed;
mod lifetime;
mod list;
mod logout;
mod refresh;
mod replay;
mod reuse;
pub mod revocation_cache;
mod revoke;

pub use active::ActiveSession;
pub use list::{ListError, SessionInfo, list};
pub use logout::{LogoutError, logout, logout_all, logout_one, logout_with_refresh_token, logout_with_token};
pub(crate) use refresh::rotated_at;
pub use refresh::{RefreshError, refresh};
pub use reuse::RefreshReuse;

pub(crate) use active::PendingSession;
pub(crate) use client::RequestClient;
pub(crate) use lifetime::access_token_end;
pub(crate) use revoke::revoke_all;
