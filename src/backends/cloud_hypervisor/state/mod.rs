//! What is known of the VMs here: rows, intents, locks, tasks, and how it is brought back in line with what runs.
