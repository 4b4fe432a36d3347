//! Authorize.
