"""Virtual machines of Xen and Oracle VM: what their configurations say, and where their disks are."""
