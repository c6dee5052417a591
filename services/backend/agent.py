"""The agent: a deterministic stub that quotes what it was told. Everything around it is real."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentStep:
    """One thing that the agent reports while it works: an event's type and content."""

    type: str
    content: str


@dataclass(frozen=True, slots=True)
class AgentRun:
    """What one run gave: its steps in order, and the reply that stays in the transcript."""

    steps: tuple[AgentStep, ...]
    reply: str


def run_agent(message: str) -> AgentRun:
    """Runs the agent on a message. The same message always gives the same run."""
    reply = f"You said: {message}"
    return AgentRun(
        steps=(
            AgentStep("agent_started", ""),
            AgentStep("agent_thinking", f"thinking about {message}"),
            AgentStep("tool_executing", "echo"),
            AgentStep("tool_completed", f"echo: {message}"),
            AgentStep("agent_completed", reply),
        ),
        reply=reply,
    )
