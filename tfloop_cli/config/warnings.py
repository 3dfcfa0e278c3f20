"""Settings of a valid config that cannot have the effect that they are for."""

from tfloop_cli.config.schema import Config


def config_warnings(config: Config) -> list[str]:
    """Returns one line for each such setting that the config alone shows; the data may show more."""
    lines = without_validation(config) if config.validation == 0 else []
    stopping = config.early_stopping
    # The first epoch is an improvement, and to stop after the last one is not early.
    if stopping and not lines and stopping.patience_epochs > config.epochs - 2:
        lines.append(
            f"`early_stopping.patience_epochs: {stopping.patience_epochs}` is too long to stop a run of "
            f"`epochs: {config.epochs}` early"
        )
    micro, whole = config.micro_batch_size, config.batch_size
    if micro != "auto" and whole != "auto" and micro > whole:
        lines.append(
            f"`micro_batch_size: {config.micro_batch_size}` has no effect: it is larger than "
            f"`batch_size: {config.batch_size}`"
        )
    return lines


def without_validation(config: Config) -> list[str]:
    """Returns one line for each setting that needs a validation split, for a run that has none."""
    lines = []
    if config.early_stopping:
        lines.append("`early_stopping` has no effect: there is no validation split")
    if config.checkpoint.best and (metric := config.checkpoint.best.metric):
        lines.append(
            f"`checkpoint.best.metric: {metric}` has no effect: there is no validation split, so the last weights are "
            "evaluated"
        )
    return lines
