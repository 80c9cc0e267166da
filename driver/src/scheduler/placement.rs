//! Where the tasks of a query run: a closed choice, and a map with one value for each case.

use std::ops::{Index, IndexMut};

/// Where the tasks of a query run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On the driver's own slots: the query reads too little to be worth distributing.
    Driver,
    /// On the executors of the fleet.
    Fleet,
}

impl Placement {
    pub(super) const ALL: [Self; 2] = [Self::Driver, Self::Fleet];
}

/// One value for each [`Placement`].
#[derive(Debug, Default)]
pub(super) struct PerPlacement<T> {
    driver: T,
    fleet: T,
}

impl<T> Index<Placement> for PerPlacement<T> {
    type Output = T;

    fn index(&self, placement: Placement) -> &T {
        match placement {
            Placement::Driver => &self.driver,
            Placement::Fleet => &self.fleet,
        }
    }
}

impl<T> IndexMut<Placement> for PerPlacement<T> {
    fn index_mut(&mut self, placement: Placement) -> &mut T {
        match placement {
            Placement::Driver => &mut self.driver,
            Placement::Fleet => &mut self.fleet,
        }
    }
}
