"""The first words of all commands: what each is for, and which module has its commands."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Word(NamedTuple):
    """What the help says of a word, and the module that is loaded when it is typed."""

    text: str
    module: str


WORDS: Final[Mapping[str, Word]] = MappingProxyType(
    {
        "serve": Word("run the whole server on one data folder", "serving"),
        "s3": Word("run one S3 worker alone", "serving"),
        "console": Word("run the console alone", "serving"),
        "jobs": Word("run the background process alone", "serving"),
        "migrate": Word("bring the control database up to date", "serving"),
        "tenant": Word("make and manage tenants", "tenants"),
        "user": Word("make and manage users and service accounts", "users"),
        "group": Word("make and manage groups", "groups"),
        "role": Word("make and manage roles that can be assumed", "roles"),
        "policy": Word("make policies and give them to users, groups and roles", "policies"),
        "key": Word("make and manage access keys", "keys"),
        "quota": Word("limit tenants, users and buckets", "quotas"),
        "bucket": Word("list all buckets, and give them to other owners", "buckets"),
        "grant": Word("share buckets with users, groups and tenants", "grants"),
        "provider": Word("trust OpenID Connect providers of web identities", "providers"),
        "session": Word("end a session before its time", "sessions"),
        "setting": Word("change what holds for the whole installation", "settings"),
        "explain": Word("say why something is allowed or denied", "explaining"),
        "audit": Word(
            "see who changed accounts and buckets, and that no row is missing", "auditing"
        ),
        "projection": Word("prove or make anew what the data path knows of accounts", "projecting"),
        "doctor": Word("check the machine and the installation", "checking"),
        "fsck": Word("prove that metadata and blobs agree", "checking"),
        "version": Word("print the version", "version"),
        "config": Word("show or document the settings", "configuring"),
    }
)
