"""Restore points of virtual machines: inventories of all vm.cfg files, copies of a VM's disks, and the way back."""
