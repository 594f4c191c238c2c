//! `garbage_monitor`: looks into Python's garbage collector, which this agent does not have.
//! Configurations that name it stay valid.

use crate::monitor::{Cadence, Description, Log, Monitor};
use crate::options::{Default, Kind, OptionSpec};
use crate::{Emitter, Error};

const WHY: &str = "Without effect: this agent has no garbage collector to look into.";

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.garbage_monitor",
    text: "Accepted for configurations of the Python agent, whose garbage collector it looked into. It does nothing here and writes no log.",
    options: &[
        OptionSpec::new("disable_garbage_collection_before_dump", Kind::Bool, Default::Bool(false), WHY).not_yet(),
        OptionSpec::new("max_type_dump", Kind::Int, Default::Int(20), WHY).not_yet(),
        OptionSpec::new("max_object_dump", Kind::Int, Default::Int(0), WHY).not_yet(),
        OptionSpec::new("monitor_garbage_objects", Kind::Bool, Default::Bool(true), WHY).not_yet(),
        OptionSpec::new("monitor_live_objects", Kind::Bool, Default::Bool(false), WHY).not_yet(),
        OptionSpec::new("monitor_all_unreachable_objects", Kind::Bool, Default::Bool(false), WHY).not_yet(),
        OptionSpec::new("object_dump_types", Kind::Strings, Default::None, WHY).not_yet(),
    ],
    metrics: &[],
    open: false,
    log: Log::Own(|_| Vec::new()),
    write_limit: (-1, -1),
    cadence: Cadence::Serving,
    service: None,
    make: |_| Ok(Box::new(GarbageMonitor)),
};

struct GarbageMonitor;

impl Monitor for GarbageMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        out.info(format_args!(
            "garbage_monitor has no effect: this agent has no garbage collector."
        ));
        out.alive();
        if out.status().is_limited() {
            out.status().skip_samples();
            return Ok(());
        }
        // Nothing to wake up for until the end.
        let end = out.stop().channel().recv();
        debug_assert!(end.is_err());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Place;
    use crate::testing::make;
    use serde_json::json;

    #[test]
    fn a_configuration_that_names_it_stays_valid() {
        let entry = json!({
            "disable_garbage_collection_before_dump": true,
            "max_type_dump": 5,
            "max_object_dump": -1,
            "monitor_garbage_objects": false,
            "object_dump_types": "dict, list",
        });
        make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
    }
}
