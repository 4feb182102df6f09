//! This host: processes and their lives, devices of the network, what is there and what is not.
