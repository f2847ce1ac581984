"""Options that commands share: which settings file, which Kafka, which Redis.

`--kafka` and `--redis` point a command at servers that exist already. Where neither they nor the environment nor the
file name one, the default local stack is taken if it is up.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click
import msgspec

from streams.errors import ThrongError
from streams.local import installed
from streams.local.folders import stack_folder
from streams.settings import Settings, load_settings
from streams.settings.checks import check

P = ParamSpec("P")
R = TypeVar("R")

Command = Callable[Concatenate[Settings, P], R]
Wrapped = Callable[..., R]


def settings_options(
    *, kafka: bool = True, redis: bool = True, served: bool = True
) -> Callable[[Command[P, R]], Wrapped[R]]:
    """Give a command `--config`, `--namespace`, and `--kafka` and `--redis` if it needs them.

    The command's function is called with the `Settings` first; the servers that it needs are named in them, unless
    which it needs depends on its arguments: then it calls `with_servers` itself, and says so by `served`.
    """

    def decorate(command: Command[P, R]) -> Wrapped[R]:
        @functools.wraps(command)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            config = kwargs.pop("config")
            overrides = {
                name: value
                for name, option in (
                    ("kafka.bootstrap", "kafka"),
                    ("kafka.namespace", "namespace"),
                    ("redis.url", "redis"),
                )
                if (value := kwargs.pop(option, None)) is not None
            }
            settings = load_settings(config if isinstance(config, Path) else None, overrides)
            return command(with_servers(settings, kafka=kafka, redis=redis) if served else settings, *args, **kwargs)

        wrapped: Wrapped[R] = call
        if redis:
            wrapped = click.option(
                "--redis", metavar="URL", help="Redis, redis://host:port/0.  [default: the local stack]"
            )(wrapped)
        if kafka:
            wrapped = click.option("--kafka", metavar="HOST:PORT", help="Kafka's brokers.  [default: the local stack]")(
                wrapped
            )
        wrapped = click.option("--namespace", metavar="NAME", help="Put before the names of topics, groups and keys.")(
            wrapped
        )
        return click.option(
            "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings file, TOML."
        )(wrapped)

    return decorate


def with_brokers(settings: Settings, brokers: str | None) -> Settings:
    """`settings` with the brokers of `--kafka`, for a command that needs no Redis and some ways no Kafka.

    Raises:
        ThrongError: as `with_servers`.
    """
    if brokers is not None:
        settings = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, bootstrap=brokers))
        check(settings)
    return with_servers(settings, redis=False)


def with_servers(settings: Settings, *, kafka: bool = True, redis: bool = True) -> Settings:
    """`settings` with the default local stack's servers where they name none.

    Raises:
        ThrongError: `config` if one is needed and not to be found, `stack` if the local stack has died.
    """
    lacks_kafka = kafka and not settings.kafka.bootstrap
    lacks_redis = redis and not settings.redis.url
    if not (lacks_kafka or lacks_redis):
        return settings
    stack = None
    may_start = installed()
    if may_start:
        from streams.local.stack import running

        stack = running(stack_folder())
    if lacks_kafka:
        if settings.kafka.security != "plaintext":
            raise ThrongError(
                "config", "setting kafka.security needs kafka.bootstrap: the local stack asks for no user"
            )
        if stack is None:
            what = "start one with 'throng up' or point --kafka at yours"
            raise ThrongError("config", f"no Kafka: {what if may_start else 'give yours by THRONG_KAFKA_BOOTSTRAP'}")
        settings = msgspec.structs.replace(
            settings, kafka=msgspec.structs.replace(settings.kafka, bootstrap=stack.kafka)
        )
    if lacks_redis:
        if stack is None:
            what = "start one with 'throng up' or point --redis at yours"
            raise ThrongError("config", f"no Redis: {what if may_start else 'give yours by THRONG_REDIS_URL'}")
        settings = msgspec.structs.replace(settings, redis=msgspec.structs.replace(settings.redis, url=stack.redis))
    return settings
