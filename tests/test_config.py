"""Settings: three sources and a default, and no way to get one wrong in silence."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from storage_server import config
from storage_server.config import Address, ConfigError, load

SECRET = "a-secret-of-some-length"


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    """Every setting has one value, and its origin can be named."""
    file = tmp_path / "holdfast.toml"
    file.write_text('region = "from-file"\nsigv2 = false\nworkers = 3\ndomain = ["a.org", "b.org"]')
    environment = {"HOLDFAST_REGION": "from-environment", "HOLDFAST_WORKERS": "2"}
    settings = load({"region": "from-flag"}, environment, file)
    assert settings.options.s3.region == "from-flag"
    assert settings.options.listen.workers == 2
    assert settings.options.s3.sigv2_enabled is False
    assert settings.options.s3.domains == ("a.org", "b.org")
    assert settings.options.listen.s3 == Address("0.0.0.0", 8080)  # noqa: S104 - the default
    assert settings.origins["region"].source == "--region"
    assert settings.origins["workers"].source == "HOLDFAST_WORKERS"
    assert settings.origins["sigv2"].source == str(file)
    assert settings.origins["s3_listen"].source == "default"


def test_the_file_in_the_data_folder_is_read(tmp_path: Path) -> None:
    """Without --config, holdfast.toml in the data folder is the file."""
    (tmp_path / "holdfast.toml").write_text('region = "eu-north-1"')
    assert load({}, {"HOLDFAST_DATA_DIR": str(tmp_path)}).options.s3.region == "eu-north-1"


@pytest.mark.parametrize("row", config.SETTINGS, ids=lambda row: row.name)
def test_each_setting_is_reachable_by_all_sources(row: config.Setting, tmp_path: Path) -> None:
    """Flag, environment and file lead to the same value; a secret's flag names a file."""
    text = SAMPLES.get(row.name, row.default)
    beside = {name: SAMPLES[name] for name in PAIRS.get(row.name, ())}
    base = {config.BY_NAME[name].variable: value for name, value in beside.items()}
    by_environment = load({}, {**base, row.variable: text})
    file = tmp_path / "holdfast.toml"
    file.write_text(f'{row.name} = "{text}"')
    file.chmod(0o600)
    by_file = load({}, base, file)
    if row.is_secret:
        secret = tmp_path / "secret"
        secret.write_text(text + "\n")
        secret.chmod(0o600)
        by_flag = load({row.name + "_file": str(secret)}, base)
        by_variable = load({}, {**base, row.variable + "_FILE": str(secret)})
        assert _but_host_id(by_variable) == _but_host_id(by_flag)
    else:
        by_flag = load({row.name: text}, base)
    assert _but_host_id(by_environment) == _but_host_id(by_file) == _but_host_id(by_flag)
    group, _, field = row.target.partition(".")
    assert getattr(getattr(by_flag.options, group), field) == row.parse(text)


SAMPLES = {
    "bootstrap_user": "app",
    "bootstrap_access_key": "APPKEY",
    "bootstrap_secret_key": SECRET,
    "data_dir": "/srv/holdfast",
    "s3_listen": "127.0.0.1:9000",
    "console_listen": "[::1]:9001",
    "workers": "3",
    "root_access_key": "ROOTKEY",
    "root_secret_key": SECRET,
    "control_db_url": "sqlite:////srv/control.db",
    "domain": "s3.example.org",
    "region": "eu-central-1",
    "strict_region": "true",
    "sigv2": "off",
    "trusted_proxies": "10.0.0.0/8",
    "proxy_protocol": "true",
    "display_names": "no",
    "failed_lookups_per_minute": "30",
    "public_s3_url": "https://s3.example.org",
    "public_console_url": "https://console.example.org",
    "tls_certificate": "/etc/tls.pem",
    "tls_key": "/etc/tls.key",
    "master_key": "ab" * 32,
    "passphrase": "correct horse battery staple",
    "log_level": "debug",
    "log_format": "text",
    "space_reserve": "1GiB",
}
PAIRS = {
    "root_access_key": ("root_secret_key",),
    "root_secret_key": ("root_access_key",),
    "bootstrap_access_key": ("bootstrap_secret_key", "bootstrap_user"),
    "bootstrap_secret_key": ("bootstrap_access_key", "bootstrap_user"),
    "tls_certificate": ("tls_key",),
    "tls_key": ("tls_certificate",),
    "proxy_protocol": ("trusted_proxies",),
}


def _but_host_id(settings: config.Settings) -> str:
    return str(settings.options).replace(settings.options.s3.host_id, "")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"HOLDFAST_S3_LISTN": "x"}, "did you mean HOLDFAST_S3_LISTEN?"),
        ({"HOLDFAST_NONSENSE_AT_ALL": "x"}, "There is no setting HOLDFAST_NONSENSE_AT_ALL"),
        ({"HOLDFAST_S3_LISTEN": "8080"}, "give host:port"),
        ({"HOLDFAST_S3_LISTEN": "::1:8080"}, "in brackets"),
        ({"HOLDFAST_S3_LISTEN": "0.0.0.0:99999"}, "give host:port"),
        ({"HOLDFAST_WORKERS": "many"}, "a whole number"),
        ({"HOLDFAST_SIGV2": "maybe"}, "true or false"),
        ({"HOLDFAST_SPACE_RESERVE": "1 GX"}, "a size such as"),
        ({"HOLDFAST_REGION": "Not A Region"}, "lower-case letters"),
        ({"HOLDFAST_TRUSTED_PROXIES": "somewhere"}, "networks"),
        ({"HOLDFAST_PUBLIC_S3_URL": "ftp://x"}, "an address without a path"),
        ({"HOLDFAST_DOMAIN": "https://x/"}, "host names"),
        ({"HOLDFAST_LOG_LEVEL": "loud"}, "one of debug"),
        ({"HOLDFAST_MASTER_KEY": "short"}, "64 hexadecimal digits"),
        ({"HOLDFAST_PASSPHRASE": "short"}, "at least 12"),
        ({"HOLDFAST_ROOT_ACCESS_KEY": "abc"}, "together"),
        (
            {"HOLDFAST_ROOT_ACCESS_KEY": "minioadmin", "HOLDFAST_ROOT_SECRET_KEY": "minioadmin"},
            "well-known",
        ),
        (
            {"HOLDFAST_ROOT_ACCESS_KEY": "admin", "HOLDFAST_ROOT_SECRET_KEY": "Password"},
            "well-known",
        ),
        (
            {"HOLDFAST_ROOT_ACCESS_KEY": "samesame", "HOLDFAST_ROOT_SECRET_KEY": "samesame"},
            "equals",
        ),
        ({"HOLDFAST_TLS_KEY": "/x"}, "together"),
        ({"HOLDFAST_PROXY_PROTOCOL": "on"}, "in trusted_proxies"),
        (
            {"HOLDFAST_MASTER_KEY": "ab" * 32, "HOLDFAST_PASSPHRASE": "correct horse battery"},
            "not both",
        ),
        (
            {"HOLDFAST_S3_LISTEN": ":8081", "HOLDFAST_CONSOLE_LISTEN": ":8081"},
            "different ports",
        ),
        ({"HOLDFAST_ROOT_SECRET_KEY_FILE": "/nowhere"}, "Can't read root_secret_key"),
        ({"HOLDFAST_CONFIG": "/nowhere.toml"}, "Can't read the settings"),
    ],
)
def test_what_can_not_be_used_is_refused_with_what_to_do(
    environment: dict[str, str], told: str
) -> None:
    """A wrong setting ends the start with a sentence about it."""
    with pytest.raises(ConfigError) as caught:
        load({}, environment)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("regin = 'x'", "did you mean region?"),
        ("region = ", "not TOML"),
        ("region = 1.5", "must be text"),
        ("[s3]\nregion = 'x'", "There is no setting 's3'"),
        (f"root_access_key = 'x'\nroot_secret_key = '{SECRET}'", "chmod 600"),
    ],
)
def test_a_file_is_held_to_the_table(text: str, told: str, tmp_path: Path) -> None:
    """Unknown keys, wrong forms and exposed secrets in the file are refused."""
    file = tmp_path / "x.toml"
    file.write_text(text)
    file.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        load({}, {}, file)
    assert told in str(caught.value)


def test_a_secret_file_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    """A secret's file is private, or it is no secret."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load({"root_secret_key_file": str(file)}, {"HOLDFAST_ROOT_ACCESS_KEY": "abc"})


@pytest.mark.parametrize(
    ("path", "mode", "is_open"),
    [
        ("/run/secrets/root", 0o444, False),
        ("/etc/holdfast/root", 0o444, True),
        ("/etc/holdfast/root", 0o640, False),
        ("/run/secrets/../root", 0o444, True),
        ("/run/secrets-of-mine/root", 0o444, True),
    ],
)
def test_a_containers_own_place_for_secrets_is_trusted(
    path: str, mode: int, *, is_open: bool
) -> None:
    """Docker mounts them there for everybody, and the mode can't be changed from inside."""
    assert config.is_open_to_all(Path(path), mode) == is_open


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_SERVICE_HOST", "10.0.0.7"),
        ("HOLDFAST_SERVICE_PORT_S3", "8080"),
        ("HOLDFAST_CONSOLE_SERVICE_PORT", "8081"),
        ("HOLDFAST_PORT", "tcp://10.0.0.7:8080"),
        ("HOLDFAST_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
        ("HOLDFAST_MY_S3_PORT_8080_TCP_ADDR", "10.0.0.7"),
    ],
)
def test_what_kubernetes_says_of_a_service_of_our_name_is_no_setting(name: str, value: str) -> None:
    """Every container beside the service gets these variables, the server's own too."""
    load({}, {name: value})


@pytest.mark.parametrize("name", ["HOLDFAST_PORT", "HOLDFAST_S3_PORT", "HOLDFAST_SERVICE"])
def test_a_setting_that_looks_like_these_is_refused_all_the_same(name: str) -> None:
    """Somebody meant something by it."""
    with pytest.raises(ConfigError, match="There is no setting"):
        load({}, {name: "8080"})


def test_an_empty_secret_file_is_named(tmp_path: Path) -> None:
    """It would count as no secret, and the sentence be about something else."""
    file = tmp_path / "secret"
    file.write_text("\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="is empty: put root_secret_key into it"):
        load({"root_secret_key_file": str(file)}, {"HOLDFAST_ROOT_ACCESS_KEY": "abc"})


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1000", 1000), ("1KiB", 1024), ("2kB", 2000), ("2 KB", 2000), ("1GB", 10**9)],
)
def test_sizes_are_written_by_1024_or_by_1000(text: str, size_bytes: int) -> None:
    """As disks and other programs name them."""
    assert config.parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "-1", "1e9", "1 gb", "1kiB", "999999999TiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Also what no disk and no column of a database could hold."""
    with pytest.raises(ValueError, match="a size such as"):
        config.parse_size(text)


def test_no_refusal_and_no_listing_holds_a_secret() -> None:
    """Secrets are masked where settings are shown, and left out of sentences."""
    environment = {"HOLDFAST_ROOT_ACCESS_KEY": "abc", "HOLDFAST_ROOT_SECRET_KEY": SECRET}
    assert SECRET not in str(load({}, environment).shown())
    with pytest.raises(ConfigError) as caught:
        load({}, environment | {"HOLDFAST_ROOT_SECRET_KEY": SECRET + " \x07"})
    assert SECRET not in str(caught.value)


def test_every_setting_fills_exactly_one_option() -> None:
    """No setting is declared that no layer receives, and no two fill the same."""
    targets = [row.target for row in config.SETTINGS]
    assert len(set(targets)) == len(targets)
    options = load({}, {}).options
    assert set(targets) <= {
        f"{group.name}.{option.name}"
        for group in fields(options)
        for option in fields(getattr(options, group.name))
    }
    assert len({row.flag for row in config.SETTINGS}) == len(config.SETTINGS)


def test_the_defaults_of_options_are_those_of_the_settings() -> None:
    """Tests and tools that build options themselves try what ships."""
    options = load({}, {}).options
    for group in fields(options):
        filled = getattr(options, group.name)
        for option in fields(filled):
            if option.default is not MISSING:
                place = f"{group.name}.{option.name}"
                assert getattr(filled, option.name) == option.default, place


def test_variables_of_the_test_suite_are_not_settings() -> None:
    """HOLDFAST_TEST_LONG may be set while servers are tested."""
    assert load({}, {"HOLDFAST_TEST_LONG": "1"}).options.s3.region == "us-east-1"
