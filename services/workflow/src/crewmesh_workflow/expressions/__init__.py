"""What people may write into a definition to get at data: templates in texts, CEL in conditions."""

from crewmesh_workflow.expressions.conditions import Condition
from crewmesh_workflow.expressions.errors import ExpressionError, NothingFoundError
from crewmesh_workflow.expressions.scope import Path, Scope
from crewmesh_workflow.expressions.templates import Template, compile_template

__all__ = ["Condition", "ExpressionError", "NothingFoundError", "Path", "Scope", "Template", "compile_template"]
