//! A router that lists its routes; tests call each of them.

use axum::Router;
use axum::routing::MethodRouter;
use http::Method;

use crate::request::AppState;

/// One route: a method, and a path as the router writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The path, such as `/sessions/{id}`.
    pub path: String,
    /// The method's name.
    pub method: String,
}

/// A router under construction, and the list of its routes.
#[derive(Default)]
pub(crate) struct Table {
    router: Router<AppState>,
    listed: Vec<Route>,
}

impl Table {
    /// Adds a handler for one method. Other methods of the same path are kept.
    pub(crate) fn on(mut self, method: &Method, path: &str, handler: MethodRouter<AppState>) -> Self {
        self.listed.push(Route { path: path.to_owned(), method: method.to_string() });
        Self { router: self.router.route(path, handler), listed: self.listed }
    }

    /// Adds the routes of another table.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.listed.extend(other.listed);
        Self { router: self.router.merge(other.router), listed: self.listed }
    }

    /// Adds the routes of another table under a base path.
    pub(crate) fn under(mut self, base: &str, other: Self) -> Self {
        self.listed.extend(
            other.listed.into_iter().map(|route| Route { path: format!("{base}{}", route.path), ..route }),
        );
        Self { router: self.router.nest(base, other.router), listed: self.listed }
    }

    /// Applies a layer to the router.
    pub(crate) fn map(self, layer: impl FnOnce(Router<AppState>) -> Router<AppState>) -> Self {
        Self { router: layer(self.router), listed: self.listed }
    }

    /// The router, and the sorted list of its routes.
    pub(crate) fn into_parts(mut self) -> (Router<AppState>, Vec<Route>) {
        self.listed.sort();
        (self.router, self.listed)
    }
}
