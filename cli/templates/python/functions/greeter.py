def handler(payload, zmesh):
    return {"message": f"{zmesh.env.GREETING}, {payload.get('name', 'stranger')}!"}
