"""Pure functions on mono float32 arrays of shape (n,), full scale at +-1.0; units are in the names."""
