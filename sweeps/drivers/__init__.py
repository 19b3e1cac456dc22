"""Two ways to drive a sweep: in this process, or over Ray. The only wing that imports ray."""
