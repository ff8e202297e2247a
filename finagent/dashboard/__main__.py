"""python -m finagent.dashboard: the page on 127.0.0.1, until the process that started it ends."""

import os
import sys
import threading
from pathlib import Path

HOME_PAGE = Path(__file__).with_name("Home.py")
PORT_VARIABLE = "FINAGENT_PAGE_PORT"
THEME = {
    "base": "light",
    "primaryColor": "#0f766e",
    "backgroundColor": "#fafaf9",
    "secondaryBackgroundColor": "#f0efec",
    "textColor": "#1c1917",
    "borderColor": "#e2e0db",
    "baseRadius": "0.6rem",
    "showWidgetBorder": "true",
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
}


def arguments(port: int) -> list[str]:
    """What Streamlit is started with: this machine only, no usage statistics, no file watcher, our theme."""
    options = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.enableXsrfProtection": "true",
        "browser.gatherUsageStats": "false",
        "browser.serverAddress": "127.0.0.1",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "logger.level": "warning",
        **{f"theme.{name}": value for name, value in THEME.items()},
    }
    return ["streamlit", "run", str(HOME_PAGE), *[f"--{name}={value}" for name, value in options.items()]]


def main() -> None:
    """Run the page; when standard input is a pipe that closes, the parent is gone and so is the page."""
    if not sys.stdin.isatty() and os.environ.get(PORT_VARIABLE):
        threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    sys.argv = arguments(int(os.environ.get(PORT_VARIABLE) or 8501))
    from streamlit.web.cli import main as streamlit

    streamlit()


def _end_with_parent() -> None:
    descriptor = sys.stdin.fileno()
    while os.read(descriptor, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
