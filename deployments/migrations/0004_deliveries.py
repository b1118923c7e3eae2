import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0003_on_demand"),
    ]

    operations = [
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        max_length=100,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]*$",
                                "Use lower-case letters, digits, dots, dashes and underscores; begin with a letter or digit.",
                            )
                        ],
                        verbose_name="name",
                    ),
                ),
                ("asked_by", models.CharField(blank=True, max_length=150, verbose_name="asked for by")),
                ("note", models.TextField(blank=True, verbose_name="note")),
                (
                    "requirement",
                    models.JSONField(
                        default=dict,
                        help_text="See deployments.deliveries.requirement.Requirement.",
                        verbose_name="requirement",
                    ),
                ),
                (
                    "tool",
                    models.CharField(
                        blank=True, help_text="The engine that somebody chose.", max_length=30, verbose_name="tool"
                    ),
                ),
                ("tool_reason", models.CharField(blank=True, max_length=300, verbose_name="why this tool")),
                (
                    "way",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("project", "the project's own Dockerfile, with changes"),
                            ("official", "on top of the official image"),
                            ("scratch", "from scratch"),
                        ],
                        max_length=10,
                        verbose_name="way",
                    ),
                ),
                ("dockerfile", models.TextField(blank=True, verbose_name="Dockerfile")),
                (
                    "context",
                    models.JSONField(
                        default=dict,
                        help_text="See deployments.deliveries.contexts.Context.",
                        verbose_name="build context",
                    ),
                ),
                ("created_by", models.CharField(max_length=150, verbose_name="made by")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="made")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
                ("closed_at", models.DateTimeField(editable=False, null=True, verbose_name="closed")),
                (
                    "config",
                    models.ForeignKey(
                        blank=True,
                        help_text="What its trials, its tests and its catalogue entry run.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="deliveries",
                        to="deployments.config",
                        verbose_name="config",
                    ),
                ),
            ],
            options={
                "verbose_name": "delivery",
                "verbose_name_plural": "deliveries",
                "ordering": ("-created_at", "-id"),
                "permissions": (("build_image", "Can deliver images: try, build, test and push them"),),
            },
        ),
    ]
