import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0008_image_builds"),
        ("playground", "0006_load_tests"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ImageTest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "waiting"),
                            ("running", "running"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        default="pending",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                (
                    "progress",
                    models.JSONField(
                        default=dict, help_text="See deployments.progress.Progress.", verbose_name="progress"
                    ),
                ),
                ("error_code", models.CharField(blank=True, max_length=50, verbose_name="error code")),
                ("error", models.TextField(blank=True, verbose_name="error")),
                ("requested_by", models.CharField(max_length=150, verbose_name="asked for by")),
                ("cancelled_by", models.CharField(blank=True, max_length=150, verbose_name="cancelled by")),
                ("cancel_requested_at", models.DateTimeField(null=True, verbose_name="cancel asked for")),
                (
                    "runs",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="How often a worker took it.", verbose_name="runs"
                    ),
                ),
                ("claim_token", models.CharField(blank=True, max_length=32)),
                ("claim_expires_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="asked for")),
                ("started_at", models.DateTimeField(null=True, verbose_name="started")),
                ("ended_at", models.DateTimeField(null=True, verbose_name="ended")),
                ("image", models.CharField(max_length=300, verbose_name="image")),
                (
                    "stage",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("start", "starts the image"),
                            ("ready", "waits until it answers"),
                            ("load", "asks it"),
                            ("stop", "stops it"),
                        ],
                        max_length=5,
                        verbose_name="stage",
                    ),
                ),
                (
                    "settings",
                    models.JSONField(
                        help_text="See playground.loadtests.settings.LoadSettings.", verbose_name="settings"
                    ),
                ),
                (
                    "targets",
                    models.JSONField(
                        default=dict, help_text="See playground.loadtests.verdicts.TARGETS.", verbose_name="targets"
                    ),
                ),
                ("passed", models.BooleanField(null=True, verbose_name="passed")),
                (
                    "build",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="tests",
                        to="deployments.imagebuild",
                        verbose_name="build",
                    ),
                ),
                (
                    "delivery",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="image_tests",
                        to="deployments.delivery",
                        verbose_name="delivery",
                    ),
                ),
                (
                    "deployment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="image_tests",
                        to="deployments.deployment",
                        verbose_name="deployment",
                    ),
                ),
                (
                    "load_test",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="image_tests",
                        to="playground.loadtest",
                        verbose_name="load test",
                    ),
                ),
                (
                    "node",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="deployments.node",
                        verbose_name="node",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
            ],
            options={
                "verbose_name": "image test",
                "verbose_name_plural": "image tests",
                "ordering": ("-pk",),
            },
        ),
    ]
