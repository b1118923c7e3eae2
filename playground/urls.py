from django.urls import path

from . import views, views_chat, views_images, views_kept, views_usage

app_name = "playground"
urlpatterns = [
    path("playground/", views_chat.chat, name="chat"),
    path("playground/c/<int:pk>/", views_chat.chat, name="conversation"),
    path("playground/c/<int:pk>/messages/", views_chat.messages, name="messages"),
    path("playground/c/<int:pk>/look/", views_chat.look, name="look"),
    path("playground/c/<int:pk>/rename/", views_chat.rename, name="rename"),
    path("playground/c/<int:pk>/delete/", views_chat.delete, name="delete"),
    path("playground/c/<int:pk>/share/", views_kept.share, name="share"),
    path("playground/c/<int:pk>/conversation.<str:kind>", views_kept.export, name="export"),
    path("playground/links/<int:pk>/revoke/", views_kept.unshare, name="unshare"),
    path("playground/shared/<str:token>/", views_kept.shared, name="shared"),
    path("playground/images/", views_images.images, name="images"),
    path("playground/images/draw/", views_images.draw, name="draw"),
    path("playground/images/jobs/<int:pk>/", views_images.job, name="image_job"),
    path("playground/images/jobs/<int:pk>/delete/", views_images.delete_job, name="image_job_delete"),
    path("playground/images/<int:pk>/", views_images.detail, name="image"),
    path("playground/images/<int:pk>/delete/", views_images.delete, name="image_delete"),
    path("playground/images/<int:pk>/image.<str:kind>", views_images.download, name="image_download"),
    path("playground/say/", views_chat.say, name="say"),
    path("playground/again/", views_chat.again, name="again"),
    path("playground/answers/<int:pk>/stop/", views_chat.stop, name="stop_answer"),
    path("playground/pictures/", views_kept.picture_add, name="picture_add"),
    path("playground/pictures/<int:pk>/", views_kept.picture, name="picture"),
    path("playground/pictures/<int:pk>/drop/", views_kept.picture_drop, name="picture_drop"),
    path("playground/presets/", views_kept.preset_keep, name="preset_keep"),
    path("playground/presets/<int:pk>/delete/", views_kept.preset_delete, name="preset_delete"),
    path("keys/", views.keys, name="keys"),
    path("keys/new/", views.key_create, name="key_create"),
    path("keys/<int:pk>/edit/", views.key_edit, name="key_edit"),
    path("keys/<int:pk>/revoke/", views.key_revoke, name="key_revoke"),
    path("usage/", views_usage.usage_page, name="usage"),
    path("usage/usage.csv", views_usage.usage_csv, name="usage_csv"),
]
