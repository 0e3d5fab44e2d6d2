"""Every kind of trigger, one file each; a file that is put here is found (see ``registry``)."""
