//! The file system as it is written: the folder that a restore fills, and block devices.
//!
//! What must hold, whatever the names and links of a snapshot say:
//!
//! - Nothing outside the target is created, changed, followed or removed. Every step is taken from a folder's descriptor with one checked
//!   name (no empty one, no `.`, `..`, `/`, NUL), and no step ever follows a symbolic link: one that lies where a folder should be is replaced or refused.
//! - What was there before stays whole until what replaces it is whole: replacements are written beside it and renamed over it.
//! - Whatever could not be given back exactly (owners, attributes, …) is counted in [`Losses`]; nothing is lost in silence.
//!
//! In reading order: [`name`] and [`decide`] are pure; [`folder`] is how everything below is reached; [`place`], [`mod@file`], [`node`] and [`remove`]
//! are what can be done in a folder; [`metadata`], [`owner`] and [`loss`] dress what was made; [`device`] is the other kind of target.

pub mod decide;
pub mod device;
pub mod failure;
pub mod file;
pub mod folder;
pub mod loss;
pub mod metadata;
pub mod name;
pub mod node;
pub mod owner;
pub mod place;
pub mod remove;

pub use decide::{Action, Existing, ExistingKind, Overwrite};
pub use device::Device;
pub use failure::Failure;
pub use file::NewFile;
pub use folder::{Folder, Target, TargetOptions};
pub use loss::{Loss, LossKind, Losses};
pub use owner::OwnerMap;
