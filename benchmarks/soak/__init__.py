"""make soak: injects faults for some minutes and checks that nothing is lost or wrong."""
