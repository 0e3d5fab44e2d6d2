"""Every kind of node, one file each; a file that is put here is found (see ``registry``)."""
