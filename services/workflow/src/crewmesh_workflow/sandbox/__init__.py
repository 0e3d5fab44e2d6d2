"""Code that users wrote, run where it can reach nothing.

It never runs in the service's own process. The service keeps a few workers, each a process of its own with hard limits
(``limits``), an empty environment and no open files. A worker has Python run by an interpreter written for untrusted
code, in one more process that is used once; JavaScript is run by deno without any permission, in a process that is used
once. What they answer is read as what it is: bytes of a stranger, bounded and validated.
"""
