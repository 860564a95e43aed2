from PIL import Image, ImageDraw, ImageFont
import io

i = Image.new("RGB", (20, 20))
b = io.BytesIO()
ImageDraw.Draw(i).text((0, 0), "x", font=ImageFont.load_default(10))
i.save(b, "PNG")
print(Image.open(b).size)
