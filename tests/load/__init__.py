"""`make bench`: measures a mesh of its own, each figure beside a baseline. See docs/guides/performance.md."""
