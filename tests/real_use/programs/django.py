import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.admin",
        "django.contrib.messages",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    SECRET_KEY="x",
)
django.setup()
from django.core.management import call_command, get_commands

call_command("migrate", verbosity=0)
from django.contrib.auth.models import User

User.objects.create_user("u")
print(User.objects.count(), len(get_commands()) > 20)
from django.template.loader import get_template

print(get_template("admin/login.html").template.name)
from django.utils import translation

with translation.override("de"):
    print(translation.gettext("Monday"))
