"""The tests; they mirror `bench/`, and `hosts` and `chaos` hold what needs whole machines or faults."""
