"""What is asked of an answer: does it hold on test images, at other rates, at larger sizes?"""
