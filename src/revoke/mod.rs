//! Tokens that are refused before their time (TX-01).
//!
//! [`Revocations`] is the set: who asks is every request ([`Revocations::refuses`]), who enters are
//! an operator through the admin port, the issuer by [`logout`], and the `list` that the
//! configuration names. Each entry ends by itself, so the set is bounded by its use; a cap on
//! their number refuses new ones and never forgets an old one. `store` keeps what was entered.
//!
//! Whoever replaces `store` by something that several gateways share keeps its three functions
//! (open, put, remove) and enters what the others did with [`Revocations::enter`].

pub mod logout;

mod entry;
mod key;
mod list;
mod marks;
mod order;
mod outcome;
mod set;
mod shards;
mod spellings;
mod store;

pub use entry::{Entry, Source};
pub use key::{Key, Kind, NotAnId};
pub use marks::{Marks, Names, id_text};
pub use order::{Known, Moment, Order};
pub use outcome::{NotEntered, NotWithdrawn};
pub use set::{Entered, Revocations, Unopened};
pub use spellings::Spellings;
pub use store::Unusable;
