"""One client for all viewers, and what is shown while the agent does not answer."""

from collections.abc import Callable

import streamlit as st

from finagent.dashboard.client import AgentClient, AgentUnreachableError


@st.cache_resource
def client() -> AgentClient:
    """The connection to the agent, shared by all viewers."""
    return AgentClient.from_environment()


def with_agent(draw: Callable[[AgentClient], None]) -> None:
    """Draw with the agent, or say in plain words that it does not answer; the page tries again by itself."""
    try:
        draw(client())
    except AgentUnreachableError as error:
        st.html(
            '<div class="fa-note bad"><b>The agent does not answer.</b> Stops stay at the broker. '
            "Start it with <code>finagent orchestrate --dashboard</code>; this page goes on by itself.</div>"
        )
        st.caption(str(error))
