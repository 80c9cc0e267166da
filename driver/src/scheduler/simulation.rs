//! Seeded schedules: see below.
