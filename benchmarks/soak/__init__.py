"""make soak: injected faults for some minutes; nothing may be lost or wrong."""
