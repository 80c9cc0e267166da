//! A fleet without executors, for sessions that only plan.

use std::net::{IpAddr, Ipv4Addr};

use async_trait::async_trait;

use super::{Fleet, FleetRequest, Launcher};
use crate::error::Result;
use crate::fleet::control::ControlServer;

/// Launches no executors: the session plans for their number and size, and runs no task.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanningLauncher;

#[async_trait]
impl Launcher for PlanningLauncher {
    fn host(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }

    fn token(&self) -> Option<String> {
        None
    }

    async fn launch(&self, request: FleetRequest) -> Result<Box<dyn Fleet>> {
        // A statement that would run fails at once instead of waiting for executors.
        let reason = "this session only plans: it has no executors".to_owned();
        request.engine.report_fleet_lost(reason).await;
        Ok(Box::new(PlanningFleet {
            slots_expected: request.executors * request.slots,
            _control: request.control,
        }))
    }
}

struct PlanningFleet {
    slots_expected: u32,
    _control: ControlServer,
}

#[async_trait]
impl Fleet for PlanningFleet {
    fn slots_expected(&self) -> u32 {
        self.slots_expected
    }

    async fn stop(&self) {}
}
