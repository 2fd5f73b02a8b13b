//! Releases on disk: copied whole, switched at once.

use super::Failure;
use crate::plan::ReleaseAct;

pub(super) fn perform(act: &ReleaseAct) -> Result<(), Failure> {
    Err(Failure::new(format!("`{}` cannot be done", act.kind())).without_effect())
}
