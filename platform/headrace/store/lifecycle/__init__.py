"""How runs come and go: queue, leases, slots, failures, upkeep and retention."""
