//! Disks and images: formats, making, copying, growing, the seed for cloud-init.
