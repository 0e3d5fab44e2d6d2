"""Who may see, use and change a single resource: a workflow, a crew, a knowledge base.

Roles say what somebody may do with all resources of a kind. A resource can be *restricted*: then only its grants count,
and owners and admins, so that nothing is locked away from everybody. A grant on a resource that is not restricted gives
it to a person whose role does not reach that far. The service that owns a resource owns its access, too.
"""
