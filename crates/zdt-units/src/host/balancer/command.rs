//! Programs of the operator, for any other balancer.

use super::run::run;
use crate::host::Failure;
use crate::model::Rotation;

/// It knows from its environment what is meant, and may take the whole time.
pub(super) async fn ask(
    command: &[String],
    service: &str,
    rotation: &Rotation,
) -> Result<(), Failure> {
    let environment = [
        ("ZDT_SERVICE", service.to_owned()),
        ("ZDT_BACKEND", rotation.server.backend.clone()),
        ("ZDT_SERVER", rotation.server.server.clone()),
    ];
    run(command, &environment, rotation.timeout).await
}
