"""Who is asking: the one place where a credential becomes somebody who may do something."""
