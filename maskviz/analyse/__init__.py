"""Pure functions: a Trace in, a result out."""
