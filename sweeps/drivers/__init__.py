"""Two ways to drive a sweep: in this process, or over Ray. No other wing imports ray."""
