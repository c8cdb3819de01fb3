//! Volumes: which one is read how ([`choose`], pure), what the API says of pods and claims ([`facts`]), pods that hold claims nobody mounts ([`holder`]),
//! where they may be ([`workload`], pure), what agents are told ([`handover`]), and whether they are there ([`agents`]).

pub mod agents;
pub mod choose;
pub mod facts;
pub mod handover;
pub mod holder;
pub mod workload;
