from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0005_delivery_decisions"),
    ]

    operations = [
        migrations.AddField(
            model_name="config",
            name="is_draft",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="Of a delivery that is still being tried: not in the catalogue yet.",
                verbose_name="draft",
            ),
        ),
    ]
