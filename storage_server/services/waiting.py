"""What a service may have its caller wait for, besides a task's usual waits."""

from storage_server.engine.waiting import LightWait

__all__ = ["LightWait"]
