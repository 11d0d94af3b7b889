//! The operations of the API: each declares its endpoint, its input and its answer, and runs one operation of
//! `auth`.

mod compat;
pub(crate) mod docs;
mod health;
mod page;
mod v1;
pub(crate) mod well_known;

use compat::fastapi;
use v1::{account, introspect, revocations, session};

use crate::request::operation::Route;

/// Every endpoint of both listeners.
pub const ROUTES: &[Route] = &[
    Route::of::<account::register::Register>(),
    Route::of::<account::me::Me>(),
    Route::of::<account::me::ChangeProfile>(),
    Route::of::<account::me::Erase>(),
    Route::of::<account::me::EraseByPost>(),
    Route::of::<account::password::ChangePassword>(),
    Route::of::<session::token::Token>(),
    Route::of::<session::refresh::Refresh>(),
    Route::of::<session::logout::Logout>(),
    Route::of::<session::logout::LogoutAll>(),
    Route::of::<session::revoke::Revoke>(),
    Route::of::<session::list::ListSessions>(),
    Route::of::<session::list::EndSession>(),
    Route::of::<introspect::Introspect>(),
    Route::of::<revocations::ReadFeed>(),
    Route::of::<fastapi::Register>(),
    Route::of::<fastapi::Login>(),
    Route::of::<well_known::Jwks>(),
    Route::of::<well_known::Metadata>(),
    Route::of::<docs::OpenApi>(),
    Route::of::<docs::DocsPage>(),
    Route::of::<docs::Script>(),
    Route::of::<docs::Style>(),
    Route::of::<health::Liveness>(),
    Route::of::<health::Ready>(),
    Route::of::<health::Startup>(),
    Route::of::<health::Metrics>(),
];
