"""How every Crewmesh service runs: app factory, errors, settings, Dapr, database, telemetry. No domain words."""

import os

# gRPC starts its threads again in every child that is forked, before the child becomes another program; there they
# meet a memory that is about to go, and about half of the children die of it. Nobody here uses gRPC in a fork.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
