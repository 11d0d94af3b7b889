//! The routes, as in `web/api/`.

mod compat;
mod docs;
mod health;
mod v1;
mod well_known;
